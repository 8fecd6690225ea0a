"""How months leave: exported, compared with the export, and taken away as a whole, with a record that says so."""
