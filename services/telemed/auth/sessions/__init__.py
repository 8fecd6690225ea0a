"""From a login to a logout: a session is a family of refresh tokens and the access tokens made with them."""
