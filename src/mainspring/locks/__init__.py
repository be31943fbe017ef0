"""Named locks: `@distributed_lock`, what keeps a lock while its work runs, and where locks are written down."""
