//! Health as two pure functions: the status at its edges, and the score.

use crate::schema_probe::Probe;

#[tokio::test]
async fn the_status_has_the_edges_that_are_promised() {
    let probe = Probe::new().await;
    for (arguments, status) in [
        ("0", "healthy"),
        ("4.99", "healthy"),
        ("4.99996", "healthy"),
        ("5", "warning"),
        ("10", "warning"),
        ("10.00004", "critical"),
        ("10.01", "critical"),
        ("100", "critical"),
        ("NULL", "idle"),
        ("NULL, 1", "active"),
        ("NULL, 0, 1", "warning"),
        ("NULL, 1, 1", "warning"),
        ("0, 0, 1", "warning"),
        ("7, 5, 3", "warning"),
        ("10.01, 0, 1", "critical"),
        ("NULL, NULL, NULL", "idle"),
    ] {
        assert_eq!(
            probe
                .text(&format!("SELECT sync_health_status({arguments})"))
                .await,
            status,
            "{arguments}"
        );
    }
}

#[tokio::test]
async fn a_stalled_operation_never_improves_the_status() {
    let probe = Probe::new().await;
    let worse = "WITH severity (status, level) AS (VALUES ('idle', 0), ('active', 0), ('healthy', 0), ('warning', 1), ('critical', 2))
        SELECT bool_and(stalled.level >= calm.level AND stalled.level >= 1) AND count(*) = 404 AS holds
        FROM (SELECT n / 10.0 FROM generate_series(0, 200) AS n UNION ALL SELECT NULL) AS rate (percent),
             (VALUES (0), (3)) AS active (operations)
        JOIN severity stalled ON true JOIN severity calm ON true
        WHERE stalled.status = sync_health_status(percent, operations, 1) AND calm.status = sync_health_status(percent, operations, 0)";
    assert_eq!(probe.text(worse).await, "true");
}

#[tokio::test]
async fn the_score_is_between_0_and_100_and_no_input_that_grows_improves_it() {
    let probe = Probe::new().await;
    let pairs = "WITH pair AS (
            SELECT (random() * 110 - 5)::numeric AS rate, (random() * 8 - 2)::bigint AS stalled, (random() * 9 - 2)::bigint AS lost,
                   random() * 1500 - 100 AS latency, n % 4 AS which, random() * CASE WHEN n % 3 = 0 THEN 0.01 ELSE 50 END AS more
            FROM generate_series(1, 20000) AS n
        ), scored AS (
            SELECT pair.*, sync_health_score(rate, stalled, lost, latency) AS better,
                   sync_health_score(rate + CASE which WHEN 0 THEN more ELSE 0 END::numeric,
                                     stalled + CASE which WHEN 1 THEN ceil(more) ELSE 0 END::bigint,
                                     lost + CASE which WHEN 2 THEN ceil(more) ELSE 0 END::bigint,
                                     latency + CASE which WHEN 3 THEN more ELSE 0 END) AS worse
            FROM pair
        )
        SELECT coalesce(string_agg(scored::text, ' ') FILTER (WHERE (worse <= better AND worse >= 0 AND better <= 100) IS NOT TRUE), 'none')
               || ', ' || (count(*) FILTER (WHERE worse < better) > 1000) || ', ' || count(*) AS violations FROM scored";
    assert_eq!(probe.text(pairs).await, "none, true, 20000");
}

#[tokio::test]
async fn the_score_is_what_its_comment_says_for_inputs_of_any_kind() {
    let probe = Probe::new().await;
    for (arguments, score) in [
        ("0", "100.00"),
        ("5", "85.00"),
        ("20", "40.00"),
        ("100", "40.00"),
        ("0, 1", "90.00"),
        ("0, 0, 1", "98.00"),
        ("0, 0, 0, 100", "99.00"),
        ("100, 3, 5, 1000", "0.00"),
        ("0, -5, -5, -5", "100.00"),
        ("-1e1000", "100.00"),
        ("'NaN'", "40.00"),
        (
            "0, 9223372036854775807, 9223372036854775807, 'Infinity'",
            "50.00",
        ),
        ("0, 0, 0, 'NaN'", "90.00"),
        ("0, NULL, NULL, NULL", "100.00"),
        ("NULL, 5", "null"),
    ] {
        assert_eq!(
            probe
                .text(&format!("SELECT sync_health_score({arguments})::text"))
                .await,
            score,
            "{arguments}"
        );
    }
}
