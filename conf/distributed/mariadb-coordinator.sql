-- The coordinator of a distributed index in MariaDB: here are the tracks, and a table "postings" whose rows are on the shards, through the
-- Spider engine (the package mariadb-plugin-spider).  docs/distributed.md tells the whole way.
--
-- After the shards (mariadb-shard.sql), once, in an empty database, by an administrator, with the words in capitals between @ replaced:
--
--     sed -e 's/@SHARD1@/shard1.lan/; s/@SHARD2@/shard2.lan/; s/@SHARD3@/shard3.lan/' \
--         -e 's/@PORT1@/3306/; s/@PORT2@/3306/; s/@PORT3@/3306/' \
--         -e "s/@DATABASE@/dejavud/; s/@USER@/dejavud/; s/@PASSWORD@/$PASSWORD/" mariadb-coordinator.sql \
--         | mariadb --host=coordinator.lan --user=root --password dejavud
--
-- @SHARD1@ …:              the shards' addresses as the coordinator reaches them, and @PORT1@ … their ports
-- @DATABASE@:              the shards' database
-- @USER@ and @PASSWORD@:   whom the coordinator logs in as on the shards
--
-- The server needs mariadb-coordinator.cnf among its options, which loads Spider and sets what cannot be set here.
-- For an index of one of dejavu's own (classic) profiles, write BIGINT for the type of "hash", as on the shards.
-- For another number of shards, write down as many servers and partitions below.  A shard more, later: docs/distributed.md.

-- Who may read the database mysql sees the password.
CREATE SERVER shard1 FOREIGN DATA WRAPPER mysql OPTIONS (
    HOST '@SHARD1@', PORT @PORT1@, DATABASE '@DATABASE@', USER '@USER@', PASSWORD '@PASSWORD@'
);
CREATE SERVER shard2 FOREIGN DATA WRAPPER mysql OPTIONS (
    HOST '@SHARD2@', PORT @PORT2@, DATABASE '@DATABASE@', USER '@USER@', PASSWORD '@PASSWORD@'
);
CREATE SERVER shard3 FOREIGN DATA WRAPPER mysql OPTIONS (
    HOST '@SHARD3@', PORT @PORT3@, DATABASE '@DATABASE@', USER '@USER@', PASSWORD '@PASSWORD@'
);

-- Which shard a posting is on is decided by its hash alone: so every look-up is spread over all of them.
-- bgs_mode           all shards work on a look-up at the same time, instead of one after the other
-- bulk_size          bytes of one INSERT; the default would send some thousand rows at a time
-- connect_timeout    seconds until a shard that does not answer counts as away; the others until one that was connected and vanished does
CREATE TABLE postings (
    hash INT NOT NULL,
    track_id INT NOT NULL,
    frame INT NOT NULL,
    copy SMALLINT UNSIGNED NOT NULL,
    PRIMARY KEY (hash, track_id, frame, copy),
    KEY postings_by_track (track_id)
) ENGINE = SPIDER
COMMENT = 'wrapper "mysql", table "postings", bgs_mode "3", bulk_size "1000000", connect_timeout "3", net_read_timeout "10", net_write_timeout "10"'
PARTITION BY KEY (hash) (
    PARTITION shard1 COMMENT = 'srv "shard1"',
    PARTITION shard2 COMMENT = 'srv "shard2"',
    PARTITION shard3 COMMENT = 'srv "shard3"'
);
