"""What a clinic's workstation keeps: studies, readings, outcomes, accounts, and who did what."""
