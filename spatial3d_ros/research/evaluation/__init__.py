"""Questions with known answers: how often the system is right, and pictures to judge it by."""
