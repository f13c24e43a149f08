"""What must change: the stages of a box, what each of them is given, and the plan of a run."""
