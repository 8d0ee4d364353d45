"""How the record's tables came to be, one module a step; run by Alembic when a record is opened."""
