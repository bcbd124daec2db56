import type { Operation } from "bellwether-web/client";
import { useSyncProgress, useSyncStatus } from "bellwether-web/react";
import { useState } from "react";

/** The operations of one owner, and whether what is shown is true. */
export function App() {
  const [owner, setOwner] = useState("alice");
  return (
    <main style={{ maxWidth: 640, margin: "0 auto", padding: 16, font: "16px/1.5 system-ui, sans-serif" }}>
      <h1>Imports</h1>
      <Connection />
      <label>
        Owner <input value={owner} onChange={(event) => setOwner(event.target.value)} />
      </label>
      {owner && <Operations owner={owner} />}
    </main>
  );
}

function Connection() {
  const { phase, staleSince, reason } = useSyncStatus();
  if (staleSince) return <p role="status">Out of date since {new Date(staleSince).toLocaleTimeString()}</p>;
  return <p role="status">{phase === "live" ? "Live" : [phase, reason].filter(Boolean).join(": ")}</p>;
}

function Operations({ owner }: { owner: string }) {
  const { ready, operations, active, errors } = useSyncProgress({ owner: [owner] });
  if (!ready) return <p>Loading…</p>;
  return (
    <>
      <p>
        {active} active, {errors.length} items failed while you looked
      </p>
      <ul>
        {operations.map((operation) => (
          <li key={operation.id}>
            <Progress operation={operation} />
          </li>
        ))}
      </ul>
    </>
  );
}

function Progress({ operation }: { operation: Operation }) {
  const { operation_type, status, progress, total_items, processed_items, error } = operation;
  if (status === "failed") return <span>{`${operation_type} failed: ${error ?? "it did not say why"}`}</span>;
  if (status !== "in_progress") return <span>{`${operation_type} ${status}`}</span>;
  return (
    <label>
      {operation_type}{" "}
      {/* Without a value the browser shows a bar without an end: the total is not known. */}
      <progress max={100} {...(total_items === null ? {} : { value: progress })} /> {processed_items} items
    </label>
  );
}
