"""A cache of the roles' answers by shard: a role is called again only if what decides its answer has changed."""
