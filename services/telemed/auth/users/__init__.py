"""People who have an account: registering, seeing oneself, and the role that each has."""
