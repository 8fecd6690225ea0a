"""The demo: an invented clinic, for a platform on one machine. Never for production: its passwords are public."""

from telemed.local.demo.accounts import DemoAccount, demo_accounts
from telemed.local.demo.welcome import welcome

__all__ = ["DemoAccount", "demo_accounts", "welcome"]
