-- One shard of a distributed index in PostgreSQL: a part of the table "postings", and nothing else.  docs/distributed.md tells the whole way.
--
-- Once for every shard, in an empty database on its server, by whoever is to own the table, which is whom the coordinator logs in as:
--
--     psql --no-psqlrc --set ON_ERROR_STOP=1 postgresql://dejavud@shard1.lan/dejavud --file postgresql-shard.sql
--
-- For an index of one of dejavu's own (classic) profiles, whose hashes have 64 bits, add: --set hash_type=bigint

\if :{?hash_type}
\else
    \set hash_type integer
\endif

BEGIN;

-- No key and no constraint: the coordinator decides which rows come here, and the daemon what they are.
CREATE TABLE postings (hash :hash_type NOT NULL, track_id integer NOT NULL, frame integer NOT NULL);

-- What look-ups read: the index holds all three columns, so the table itself is not touched.
CREATE INDEX postings_by_hash ON postings (hash) INCLUDE (track_id, frame);

-- What removals and the daemons' resident views read: a track's postings lie together, in the order of their coming.
CREATE INDEX postings_by_track ON postings USING brin (track_id) WITH (pages_per_range = 8);

COMMIT;
