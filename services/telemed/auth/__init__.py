"""Who you are: users, sessions, roles, and the only holder of signing keys."""
