"""What stays after a run: its log on the controller, its receipt on the box. Only reads what happened."""
