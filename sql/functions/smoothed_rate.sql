-- Items per second, smoothed: a report moves the rate by dt / (dt + T) of the way to the rate since the report before,
-- where T is how long the work had been going on by then, at most 10 seconds. So in the first seconds it is the mean since
-- the start, whatever the first few milliseconds looked like, and later a mean that forgets with a time constant of 10 s.
--
-- rate + (items / dt - rate) dt / (dt + T) = (rate T + items) / (T + dt). Planned into the callers' expressions, so that
-- it costs no call.
CREATE OR REPLACE FUNCTION bellwether.smoothed_rate(
    rate    double precision, -- before; null before the first report
    items   double precision, -- processed since the report before
    seconds double precision, -- since the report before, above 0
    worked  double precision  -- T; 0 before the first report
) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN least((coalesce(rate * worked, 0) + items) / (worked + seconds), 1e30);
COMMENT ON FUNCTION bellwether.smoothed_rate(double precision, double precision, double precision, double precision) IS
    'Items per second after a report: moved by dt / (dt + T) of the way to the rate since the report before, T being the age of the work, at most 10 seconds.';
