-- How long an operation will go on: at its rate, or, where items do not tell, at the pace of its progress so far. Null
-- where neither tells. Planned into the callers' expressions, so that it costs no call.
CREATE OR REPLACE FUNCTION bellwether.seconds_left(
    items_per_second double precision,
    items_left       double precision, -- null where the total is unknown
    progress         numeric,
    seconds_so_far   double precision
) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN items_per_second > 0 AND items_left >= 0 THEN items_left / items_per_second
            WHEN progress BETWEEN 0.01 AND 100 THEN seconds_so_far * (100 - progress::double precision) / progress::double precision END;
COMMENT ON FUNCTION bellwether.seconds_left(double precision, double precision, numeric, double precision) IS
    'Seconds until an operation ends: items left at its rate, else at the pace of its progress so far; null where neither tells.';
