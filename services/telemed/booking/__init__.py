"""When you meet: the doctor directory, slots, appointments."""
