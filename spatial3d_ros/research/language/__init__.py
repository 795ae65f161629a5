"""What people say about rooms, with the exact truth: questions, descriptions, instructions."""
