// k6: the demo shop's visitors ask for lists at a fixed rate, whatever the answers take, and tell of a click on some.
// Environment: ADDRESS, RATE (requests per second), SECONDS. Fails where any answer is no 200 or any list is short.
import { check } from "k6";
import exec from "k6/execution";
import http from "k6/http";

const CLICKED = 0.1; // of the lists
const JSON_BODY = { headers: { "Content-Type": "application/json" } };

export const options = {
  scenarios: {
    shop: {
      executor: "constant-arrival-rate", rate: Number(__ENV.RATE), duration: `${__ENV.SECONDS}s`,
      preAllocatedVUs: 64, maxVUs: 256,
    },
  },
  thresholds: { checks: ["rate==1"], http_reqs: ["count>0"] },
};

export default function () {
  const user = `user-${String(Math.floor(Math.random() * 1000)).padStart(4, "0")}`;
  const lambda2 = (Math.random() * 2).toFixed(2);
  const url = `${__ENV.ADDRESS}/v1/users/${user}/recommendations?k=10&lambda2=${lambda2}`;
  const answer = http.get(url, { tags: { name: "recommendations" } });
  const full = check(answer, {
    "answered": (r) => r.status === 200,
    "ten items": (r) => r.status === 200 && r.json("items").length === 10,
  });
  if (!full || Math.random() >= CLICKED) return;
  const event = {
    event_id: `load-${exec.scenario.startTime}-${exec.scenario.iterationInTest}`, user_id: user, type: "click",
    item_id: answer.json("items.0.item_id"), timestamp: Date.now() / 1000,
  };
  const told = http.post(`${__ENV.ADDRESS}/v1/events`, JSON.stringify(event), { ...JSON_BODY, tags: { name: "events" } });
  check(told, { "told": (r) => r.status === 200 });
}
