/** The dashboard that the relay serves at its root. */
import "./page.css";
import "../components/dashboard/dashboard.js";
