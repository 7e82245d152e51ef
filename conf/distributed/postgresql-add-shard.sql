-- One more shard for a distributed index in PostgreSQL: half of what another shard holds moves to it.
--
-- With all daemons stopped, after postgresql-shard.sql on the new server, by the superuser of the coordinator:
--
--     psql --no-psqlrc --set ON_ERROR_STOP=1 --set user=dejavud --set password="$PASSWORD" \
--          --set new=shard4 --set host=shard4.lan --set old=shard1 --set modulus=3 --set remainder=0 \
--          postgresql://postgres@coordinator.lan/dejavud --file postgresql-add-shard.sql
--
-- old, modulus, remainder:  the shard that is split, and which rows it has; \d+ postings shows that
-- new, host, port, dbname:  the new shard; user, password and hash_type as for the others
--
-- After it, `postings` is partitioned by twice the modulus where it was split.  What moved is still on the old shard, too, and has to be
-- deleted there, before any daemon is started: the last lines that this prints are the commands for it, to be run on that server.

\if :{?hash_type}
\else
    \set hash_type integer
\endif
\if :{?dbname}
\else
    \set dbname dejavud
\endif
\if :{?port}
\else
    \set port 5432
\endif
SELECT 2 * :modulus AS twice, :remainder + :modulus AS other, 'postings_' || :'old' AS old_part, 'postings_' || :'new' AS new_part \gset

BEGIN;

CREATE SERVER :"new" FOREIGN DATA WRAPPER postgres_fdw OPTIONS (
    host :'host', port :'port', dbname :'dbname', async_capable 'true', fetch_size '50000', batch_size '10000',
    connect_timeout '3', tcp_user_timeout '5000', keepalives_idle '5', keepalives_interval '2', keepalives_count '2'
);
GRANT USAGE ON FOREIGN SERVER :"new" TO :"user";
CREATE USER MAPPING FOR :"user" SERVER :"new" OPTIONS (user :'user', password :'password');

SET LOCAL ROLE :"user";
CREATE FOREIGN TABLE :"new_part" (hash :hash_type NOT NULL, track_id integer NOT NULL, frame integer NOT NULL)
    SERVER :"new" OPTIONS (table_name 'postings');
-- OFFSET has the coordinator choose: the shard does not know what the table is partitioned by.
INSERT INTO :"new_part" SELECT * FROM (SELECT * FROM :"old_part" OFFSET 0) AS every
    WHERE satisfies_hash_partition('postings'::regclass, :twice, :other, hash);
ALTER TABLE postings DETACH PARTITION :"old_part";
ALTER TABLE postings ATTACH PARTITION :"old_part" FOR VALUES WITH (MODULUS :twice, REMAINDER :remainder);
ALTER TABLE postings ATTACH PARTITION :"new_part" FOR VALUES WITH (MODULUS :twice, REMAINDER :other);

COMMIT;

\echo Now, on :old, before any daemon is started:
\echo CREATE TEMPORARY TABLE split (LIKE postings) PARTITION BY HASH (hash);
\echo 'DELETE FROM postings WHERE satisfies_hash_partition('''split'''::regclass, ':twice', ':other', hash);'
\echo VACUUM ANALYZE postings;
