"""``grape-ops compare``: two runs or two maps, what differs between them, and which genes' neighbours moved."""
