"""A whole platform on one machine, for developers: embedded servers, demo data, one supervisor."""
