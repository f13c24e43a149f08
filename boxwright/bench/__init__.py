"""How fast a provisioned box answers: load from the controller, by Locust, against what was predicted and promised."""
