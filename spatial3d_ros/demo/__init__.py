"""The demo: a bag is played into running nodes, questions are asked, and a report is written."""
