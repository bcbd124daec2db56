import { describe, expect, test } from "vitest";
import { routeOf } from "../src/components/dashboard/router.js";
import { activity, type Point, pointsOfCsv, seriesOf, throughput } from "../src/components/dashboard/series.js";

describe("routes", () => {
  const at = (path: string, base = "/") => routeOf(new URL(path, "http://relay.example"), base);

  test("each view has its URL", () => {
    expect(at("/").name).toBe("now");
    expect(at("/history?status=failed").query.get("status")).toBe("failed");
    expect(at("/health/").name).toBe("health");
    expect(at("/operations/a%2Fb")).toMatchObject({ name: "operation", id: "a/b" });
    expect(at("/operations/%E0%A4%A")).toMatchObject({ name: "operation", id: "%E0%A4%A" });
    expect(at("/nonsense").name).toBe("unknown");
    expect(at("/toString").name).toBe("unknown");
  });

  test("below another base too", () => {
    expect(at("/sync/connections", "/sync/").name).toBe("connections");
    expect(at("/sync/", "/sync/").name).toBe("now");
  });
});

describe("trends", () => {
  const point = (minute: number, fields: Partial<Point> = {}): Point => ({
    taken_at: new Date(minute * 60_000).toISOString(),
    error_rate_percent: 1,
    score: 90,
    window_seconds: 900,
    completed_operations: 9,
    failed_operations: 1,
    cancelled_operations: 0,
    pending_operations: 1,
    running_operations: 2,
    paused_operations: 3,
    peak_concurrency: 4,
    ...fields,
  });

  test("missing snapshots are a gap, in which nothing is drawn", () => {
    const series = seriesOf([0, 2, 4, 6, 20, 22, 24].map((minute) => point(minute)));
    expect(series.gaps).toEqual([[360, 1_200]]);
    expect(series.values.score).toEqual([90, 90, 90, 90, null, 90, 90, 90]);
    expect(series.times[4]).toBe(780);
  });

  test("one that came late is no gap, and one that a person took in between makes none", () => {
    expect(seriesOf([0, 2, 4.5, 6, 8].map((minute) => point(minute))).gaps).toEqual([]);
    expect(seriesOf([0, 2, 2.1, 4, 6, 8].map((minute) => point(minute))).gaps).toEqual([]);
  });

  test("throughput is by the hour, and activity is all that has not ended", () => {
    const series = seriesOf([point(0), point(2)]);
    expect(throughput(series)).toEqual([40, 40]);
    expect(activity(series)).toEqual([6, 6]);
  });

  test("a CSV is read by its header, and an empty field is not known, not zero", () => {
    const text =
      "id,taken_at,score,error_rate_percent,window_seconds\r\n2,2026-11-21 05:02:00+00,,0,900\r\n1,2026-11-21 05:00:00+00,80.5,2.5,900\r\n";
    expect(pointsOfCsv(text)).toMatchObject([
      { score: 80.5, error_rate_percent: 2.5 },
      { score: null, error_rate_percent: 0 },
    ]);
    expect(pointsOfCsv("")).toEqual([]);
  });
});
