"""A small view of traces for people who have no place to send them: reads what the processes of `make run` wrote."""
