"""What every Entrain service shares. Imports no service."""
