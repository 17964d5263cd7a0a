"""What an operator asks of a running deployment."""
