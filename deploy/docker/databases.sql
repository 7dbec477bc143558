-- Run once, by psql, as a user who may create databases and will own both: the catalogue, and Prefect's own.
CREATE DATABASE dailies;
CREATE DATABASE prefect;
-- Prefect searches flow runs by parts of their names
\connect prefect
CREATE EXTENSION IF NOT EXISTS pg_trgm;
\connect dailies
CREATE EXTENSION IF NOT EXISTS pg_trgm;
