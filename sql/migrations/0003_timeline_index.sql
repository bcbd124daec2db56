-- How the history of one operation is found in the event log without a price for the writer. A B-tree on entity would
-- cost each write an insertion at a random place. A BRIN index keeps one small summary for each 32 pages (some 250
-- events), and a page range that has none yet costs a writer next to nothing (measured: 0.4 microseconds an event): the
-- relay summarises behind the writers' backs, see bellwether.summarize_event_index(). What is not summarised yet is
-- scanned, so a reader never misses an event, however late the summary.
--
-- entity has a Bloom filter (one range in a hundred is read in vain), id the range's least and greatest, so that a page
-- of a long history reads only its part of the log.
CREATE INDEX event_is_found_by_entity ON bellwether.event
    USING brin (entity pg_catalog.text_bloom_ops (n_distinct_per_range = 250, false_positive_rate = 0.01), id)
    WITH (pages_per_range = 32, autosummarize = off);
COMMENT ON INDEX bellwether.event_is_found_by_entity IS
    'Finds the events of one entity and those of a range of ids. Kept up to date by bellwether.summarize_event_index(), not by the writers.';
COMMENT ON INDEX bellwether.event_is_found_by_transaction IS
    'Finds what a reader is owed: the events from a transaction id upwards.';
