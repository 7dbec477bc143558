"""How alembic reaches the catalogue: over the connection that catalogs.database hands in, and no other.

There is no alembic.ini and no offline mode: a migration runs inside the caller's transaction, so that a
database is either at the old revision or at the new one, whatever happens in between.
"""

from alembic import context

from catalogs.tables import VERSION_TABLE, Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,  # SQLite alters a table only by copying it
    transactional_ddl=True,  # ours begins transactions explicitly on SQLite, so DDL does roll back
)
with context.begin_transaction():
    context.run_migrations()
