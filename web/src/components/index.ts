/** Bellwether's elements. Importing this module registers them all. */
export { Dashboard } from "./dashboard/dashboard.js";
export { LIVE, RelayElement, sharedClient, useClient } from "./element.js";
export { OperationProgress } from "./operation.js";
export { StatusIndicator } from "./status.js";
export { RelayTime } from "./time.js";
export { Toasts } from "./toasts.js";
export { FloatingWidget } from "./widget.js";
