-- The coordinator of a distributed index in PostgreSQL: here are the tracks, and a table "postings" whose rows are on the shards.
-- docs/distributed.md tells the whole way.
--
-- After the shards (postgresql-shard.sql), once, in an empty database, by a superuser, who alone may install postgres_fdw:
--
--     psql --no-psqlrc --set ON_ERROR_STOP=1 --set user=dejavud --set password="$PASSWORD" \
--          --set shard1=shard1.lan --set shard2=shard2.lan --set shard3=shard3.lan \
--          postgresql://postgres@coordinator.lan/dejavud --file postgresql-coordinator.sql
--
-- user:      the role that the daemons log in as here, and that logs in on the shards, by the same name and this password;
--            the tables are its own
-- shard1 …:  the shards' hosts, by name or address, as the coordinator reaches them
-- With further --set: port1, port2, port3 (5432), dbname (dejavud) of the shards; hash_type=bigint for an index of one of dejavu's own
-- (classic) profiles, as on the shards.
--
-- For another number of shards, write down as many servers, user mappings and partitions below, each "modulus" being their number and each
-- "remainder" another number below it.  A shard more, later: docs/distributed.md.

\if :{?hash_type}
\else
    \set hash_type integer
\endif
\if :{?dbname}
\else
    \set dbname dejavud
\endif
\if :{?port1}
\else
    \set port1 5432
\endif
\if :{?port2}
\else
    \set port2 5432
\endif
\if :{?port3}
\else
    \set port3 5432
\endif

BEGIN;

CREATE EXTENSION IF NOT EXISTS postgres_fdw;

-- async_capable       all shards work on a look-up at the same time, instead of one after the other
-- fetch_size          rows of an answer that come at once; the default of 100 would be a round trip for every hundred hits
-- batch_size          rows of one INSERT; the default is one
-- connect_timeout     seconds until a shard that does not answer counts as away
-- tcp_user_timeout    milliseconds until one that was connected and vanished does; so do the keepalives, where nothing was being sent
-- use_remote_estimate stays off: every look-up has the one plan, and asking the shards for estimates would double the round trips
CREATE SERVER shard1 FOREIGN DATA WRAPPER postgres_fdw OPTIONS (
    host :'shard1', port :'port1', dbname :'dbname', async_capable 'true', fetch_size '50000', batch_size '10000',
    connect_timeout '3', tcp_user_timeout '5000', keepalives_idle '5', keepalives_interval '2', keepalives_count '2'
);
CREATE SERVER shard2 FOREIGN DATA WRAPPER postgres_fdw OPTIONS (
    host :'shard2', port :'port2', dbname :'dbname', async_capable 'true', fetch_size '50000', batch_size '10000',
    connect_timeout '3', tcp_user_timeout '5000', keepalives_idle '5', keepalives_interval '2', keepalives_count '2'
);
CREATE SERVER shard3 FOREIGN DATA WRAPPER postgres_fdw OPTIONS (
    host :'shard3', port :'port3', dbname :'dbname', async_capable 'true', fetch_size '50000', batch_size '10000',
    connect_timeout '3', tcp_user_timeout '5000', keepalives_idle '5', keepalives_interval '2', keepalives_count '2'
);
GRANT USAGE ON FOREIGN SERVER shard1, shard2, shard3 TO :"user";

-- The password is kept in pg_user_mapping, where only superusers and the role itself can read it.
CREATE USER MAPPING FOR :"user" SERVER shard1 OPTIONS (user :'user', password :'password');
CREATE USER MAPPING FOR :"user" SERVER shard2 OPTIONS (user :'user', password :'password');
CREATE USER MAPPING FOR :"user" SERVER shard3 OPTIONS (user :'user', password :'password');

-- The daemon's role makes its other tables beside this one, when a daemon first opens the database.
GRANT USAGE, CREATE ON SCHEMA public TO :"user";
SET LOCAL ROLE :"user";

-- Which shard a posting is on is decided by its hash alone: so every look-up is spread over all of them.
CREATE TABLE postings (hash :hash_type NOT NULL, track_id integer NOT NULL, frame integer NOT NULL) PARTITION BY HASH (hash);
CREATE FOREIGN TABLE postings_shard1 PARTITION OF postings FOR VALUES WITH (MODULUS 3, REMAINDER 0)
    SERVER shard1 OPTIONS (table_name 'postings');
CREATE FOREIGN TABLE postings_shard2 PARTITION OF postings FOR VALUES WITH (MODULUS 3, REMAINDER 1)
    SERVER shard2 OPTIONS (table_name 'postings');
CREATE FOREIGN TABLE postings_shard3 PARTITION OF postings FOR VALUES WITH (MODULUS 3, REMAINDER 2)
    SERVER shard3 OPTIONS (table_name 'postings');

COMMIT;
