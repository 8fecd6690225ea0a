"""The words that services exchange: ids, roles, events, access, and the records that one publishes to another."""
