"""The commands of the scripts: `compress` and `export`, batches and shards of files."""
