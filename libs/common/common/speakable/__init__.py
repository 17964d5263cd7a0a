"""What people may have read out to them: the words alone, judged offline, and how what is refused is said."""
