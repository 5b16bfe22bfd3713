// Loaded before the broker: its machine's clock is so many milliseconds off. The process is otherwise as a user runs it.

const by = Number(process.env["TEST_CLOCK_SKEW_MS"]);
const now = Date.now;
Date.now = () => now() + by;
