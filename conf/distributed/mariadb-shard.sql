-- One shard of a distributed index in MariaDB: a part of the table "postings", and nothing else.  docs/distributed.md tells the whole way.
--
-- Once for every shard, in an empty database on its server, by whoever may make tables there:
--
--     mariadb --host=shard1.lan --user=dejavud --password dejavud < mariadb-shard.sql
--
-- The coordinator needs to read, insert and delete; TRUNCATE, which empties an index at once, needs DROP as well:
--
--     GRANT SELECT, INSERT, DELETE, DROP ON dejavud.* TO dejavud@'coordinator.lan';
--
-- For an index of one of dejavu's own (classic) profiles, whose hashes have 64 bits, write BIGINT for the type of "hash".

CREATE TABLE postings (
    hash INT NOT NULL,
    track_id INT NOT NULL,
    frame INT NOT NULL,
    copy SMALLINT UNSIGNED NOT NULL, -- tells equal postings of a track apart
    PRIMARY KEY (hash, track_id, frame, copy), -- InnoDB keeps a table in the order of its key: a look-up reads neighbours
    KEY postings_by_track (track_id) -- what removals and the daemons' resident views read
) ENGINE = InnoDB;
