"""What roles answered, kept by shard: a role is asked again only where what decides its answer has changed."""
