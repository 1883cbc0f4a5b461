// k6: clients either ask again as soon as they are answered (CLIENTS), or arrive at a fixed RATE whatever the answers
// take. Environment: ADDRESS, TARGETS (a file of request targets, one a line), SECONDS, and CLIENTS or RATE. Prints JSON.
import http from "k6/http";
import { Counter, Trend } from "k6/metrics";
import exec from "k6/execution";

const targets = open(__ENV.TARGETS).trim().split("\n");
const answered = new Trend("answered", true), refused = new Trend("refused", true);
const broken = new Counter("broken"), unexplained = new Counter("unexplained");
const statuses = Object.fromEntries([200, 429, 503].map((status) => [status, new Counter(`status_${status}`)]));
const closed = { executor: "constant-vus", vus: Number(__ENV.CLIENTS), duration: `${__ENV.SECONDS}s` };
const arriving = {
  executor: "constant-arrival-rate", rate: Number(__ENV.RATE), timeUnit: "1s", duration: `${__ENV.SECONDS}s`,
  preAllocatedVUs: Number(__ENV.MOST || 256), maxVUs: Number(__ENV.MOST || 256),
};

export const options = {
  scenarios: { load: __ENV.CLIENTS ? closed : arriving },
  discardResponseBodies: true,
  summaryTrendStats: ["count", "med", "p(95)", "p(99)", "max"],
  systemTags: ["status"],
};

export default function () {
  const answer = http.get(__ENV.ADDRESS + targets[exec.scenario.iterationInTest % targets.length]);
  if (statuses[answer.status]) statuses[answer.status].add(1);
  if (answer.status === 200) answered.add(answer.timings.duration);
  else if (answer.status === 429 || answer.status === 503) {
    refused.add(answer.timings.duration);
    if (!answer.headers["Retry-After"]) unexplained.add(1);
  } else broken.add(1);
}

export function handleSummary(data) {
  const of = (name) => (data.metrics[name] ? data.metrics[name].values : {});
  const trend = (name) => {
    const v = of(name);
    return { count: v.count || 0, p50: v.med / 1e3, p95: v["p(95)"] / 1e3, p99: v["p(99)"] / 1e3, most: v.max / 1e3 };
  };
  const count = (name) => of(name).count || 0;
  return {
    stdout: JSON.stringify({
      answered: trend("answered"), refused: trend("refused"), broken: count("broken"),
      without_retry_after: count("unexplained"), dropped: count("dropped_iterations"),
      statuses: { 200: count("status_200"), 429: count("status_429"), 503: count("status_503") },
    }) + "\n",
  };
}
