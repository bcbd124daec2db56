/** The one script tag: all elements, with the client under `Bellwether` for a page's own script. */
import { SyncClient } from "../client/index.js";
import { sharedClient, useClient } from "../components/index.js";

export { SyncClient, sharedClient, useClient };
