"""What happens when you meet: visits and prescriptions."""
