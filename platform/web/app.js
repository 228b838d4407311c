// SPDX-License-Identifier: BSD-3-Clause
// The fleet view. Whatever a device said of itself comes to the page by textContent alone.
"use strict";

const SHOWN_MAX = 500;
const PERIOD_MS = 10000;
const SVG = "http://www.w3.org/2000/svg";
const seen = { agents: [], models: [], releases: [], rollouts: [], trust: [], alerts: [], records: [] };
let revoking = "";

const by = (id) => document.getElementById(id);

function element(name, text, className) {
	const made = document.createElement(name);
	if (text !== undefined && text !== null)
		made.textContent = String(text);
	if (className)
		made.className = className;
	return made;
}

function cell(row, text, className) {
	row.append(element("td", text === undefined || text === null || text === "" ? "–" : text, className));
}

function fill(id, items, makeRow) {
	const body = by(id).tBodies[0];
	body.replaceChildren(...items.map(makeRow));
	if (!items.length) {
		const row = element("tr"), none = element("td", "none", "info");
		none.colSpan = by(id).tHead.rows[0].cells.length;
		row.append(none);
		body.append(row);
	}
}

function bytes(n) {
	const units = ["B", "kB", "MB", "GB", "TB", "PB"];
	let i = 0;
	for (; n >= 1000 && i < units.length - 1; i++)
		n /= 1000;
	return (i && n < 100 ? n.toFixed(1) : Math.round(n)) + " " + units[i];
}

function time(text) {
	return text ? text.replace("T", " ").replace("Z", "") : "–";
}

function short(hash) {
	return hash ? hash.slice(0, 12) : "–";
}

function stateClass(state) {
	if (["valid", "up", "running", "done", "healthy", "ready"].includes(state))
		return "good";
	if (["revoked", "failed", "stopped", "locked", "expired"].includes(state))
		return "error";
	return ["degraded", "paused", "rolled-back", "down"].includes(state) ? "warning" : "info";
}

// A bar of three parts. Sizes are attributes: a style would need 'unsafe-inline'.
function split(agent) {
	const all = agent.real + agent.pad + agent.dummy, svg = document.createElementNS(SVG, "svg");
	let at = 0;
	svg.setAttribute("viewBox", "0 0 100 10");
	svg.setAttribute("preserveAspectRatio", "none");
	svg.setAttribute("class", "split");
	for (const part of ["real", "pad", "dummy"]) {
		const rect = document.createElementNS(SVG, "rect"), width = all ? agent[part] / all * 100 : 0;
		rect.setAttribute("x", at);
		rect.setAttribute("width", width);
		rect.setAttribute("height", 10);
		rect.setAttribute("class", part);
		svg.append(rect);
		at += width;
	}
	return svg;
}

function agentRow(agent) {
	const row = element("tr"), traffic = element("td", null, "num");
	row.tabIndex = 0;
	row.dataset.id = agent.id;
	cell(row, agent.id);
	cell(row, agent.fleet);
	cell(row, agent.assurance, agent.assurance === "tpm-attested" ? "good" : "warning");
	cell(row, agent.state, stateClass(agent.state));
	cell(row, agent.condition, stateClass(agent.condition));
	cell(row, agent.engine);
	cell(row, agent.policy_version || "");
	if (agent.last_seen)
		traffic.append(split(agent), `${bytes(agent.real)} / ${bytes(agent.pad)} / ${bytes(agent.dummy)}`);
	else
		traffic.textContent = "–";
	row.append(traffic);
	cell(row, time(agent.last_seen), "num");
	cell(row, (agent.faults || []).join(", "), agent.faults && agent.faults.length ? "error" : "");
	row.addEventListener("click", () => showDetails(agent.id));
	row.addEventListener("keydown", (event) => {
		if (event.key === "Enter")
			showDetails(agent.id);
	});
	return row;
}

function matches(agent, words, state) {
	const text = [agent.id, agent.fleet, agent.assurance, agent.state, agent.condition, agent.engine, agent.version,
		agent.kernel, ...(agent.faults || [])].join(" ").toLowerCase();
	return (!state || agent.state === state) && words.every((word) => text.includes(word));
}

function drawAgents() {
	const words = by("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
	const found = seen.agents.filter((agent) => matches(agent, words, by("filter-state").value));
	by("shown").textContent = found.length > SHOWN_MAX ? `${found.length} agents, the first ${SHOWN_MAX} are shown` :
		`${found.length} of ${seen.agents.length}`;
	fill("agents", found.slice(0, SHOWN_MAX), agentRow);
}

function drawNumbers() {
	const count = (test) => seen.agents.filter(test).length;
	const sum = (part) => seen.agents.reduce((all, agent) => all + (agent[part] || 0), 0);
	const list = [["Agents", seen.agents.length], ["attested by a TPM", count((a) => a.assurance === "tpm-attested")],
		["up", count((a) => a.condition === "up")], ["revoked", count((a) => a.state === "revoked")],
		["real", bytes(sum("real"))], ["padding", bytes(sum("pad"))], ["dummies", bytes(sum("dummy"))]];
	by("numbers").replaceChildren(...list.map(([name, value]) => {
		const both = element("div");
		both.append(element("dt", name), element("dd", value));
		return both;
	}));
}

function drawAlerts() {
	const order = { error: 0, warning: 1, info: 2 };
	const alerts = [...seen.alerts].sort((a, b) => order[a.severity] - order[b.severity]).slice(0, SHOWN_MAX);
	by("alerts").replaceChildren(...alerts.map((alert) => {
		const item = element("li");
		item.append(element("b", alert.kind, alert.severity), ` ${alert.subject}: ${alert.text}`);
		return item;
	}));
	if (!alerts.length)
		by("alerts").append(element("li", "none", "info"));
}

function rolloutRow(rollout) {
	const row = element("tr"), stages = rollout.stages.split(",");
	cell(row, rollout.model);
	cell(row, rollout.fleet);
	cell(row, rollout.candidate, "num");
	cell(row, rollout.base || "–", "num");
	cell(row, rollout.state, stateClass(rollout.state));
	cell(row, `${stages[rollout.stage]} % (${rollout.stage + 1} of ${stages.length})`, "num");
	cell(row, rollout.told, "num");
	cell(row, rollout.healthy, "num");
	cell(row, rollout.failed, "num");
	cell(row, rollout.reason);
	return row;
}

function nameOf(manifest) {
	const release = seen.releases.find((one) => one.manifest === manifest);
	return release ? `${release.model} ${release.release}` : short(manifest);
}

function releaseRow(release) {
	const row = element("tr"), lineage = release.lineage || {};
	const devices = seen.models.filter((one) => one.manifest === release.manifest);
	cell(row, release.model);
	cell(row, release.release, "num");
	cell(row, release.revoked ? `${release.version}, revoked` : release.version, release.revoked ? "error" : "");
	cell(row, bytes(release.size), "num");
	cell(row, time(release.added), "num");
	cell(row, lineage.training_run);
	cell(row, short(lineage.data), "hash");
	cell(row, (lineage.parents || []).map(nameOf).join(", "));
	cell(row, devices.length, "num");
	return row;
}

function origin(manifest) {
	const release = seen.releases.find((one) => one.manifest === manifest), lineage = release ? release.lineage : null;
	if (!release)
		return `unknown package ${short(manifest)}`;
	return [lineage && lineage.training_run ? `run ${lineage.training_run}` : null,
		lineage && lineage.data ? `data ${short(lineage.data)}` : null,
		lineage && lineage.parents.length ? `from ${lineage.parents.map(nameOf).join(", ")}` : null,
		`author ${short(release.author)}`].filter(Boolean).join("; ");
}

function deviceRow(model) {
	const row = element("tr");
	cell(row, model.agent);
	cell(row, model.model);
	cell(row, model.release || "–", "num");
	cell(row, model.state, stateClass(model.state));
	cell(row, time(model.since), "num");
	cell(row, model.release ? origin(model.manifest) : "–");
	cell(row, model.detail);
	return row;
}

function plainRow(names, classes) {
	return (item) => {
		const row = element("tr");
		names.forEach((name, i) => cell(row, classes && classes[i] === "time" ? time(item[name]) : item[name],
			classes && classes[i] ? "num" : ""));
		return row;
	};
}

function draw() {
	drawNumbers();
	drawAlerts();
	drawAgents();
	fill("rollouts", seen.rollouts, rolloutRow);
	fill("releases", seen.releases, releaseRow);
	fill("devices", seen.models.slice(0, SHOWN_MAX), deviceRow);
	fill("trust", seen.trust, plainRow(["role", "version", "issued", "expires"], ["", "num", "time", "time"]));
	fill("audit", seen.records, plainRow(["index", "time", "agent", "actor", "action", "target", "outcome", "count",
		"detail"], ["num", "time", "", "", "", "", "", "num"]));
}

async function get(path) {
	const answer = await fetch(path, { cache: "no-store" });
	const object = await answer.json();
	if (!answer.ok)
		throw new Error(object.error || `status ${answer.status}`);
	return object;
}

async function refresh() {
	const state = by("state");
	try {
		const parts = await Promise.all(["agents", "models", "releases", "alerts", "audit"].map(
			(part) => get(`/v1/fleet/${part}`)));
		Object.assign(seen, ...parts);
		draw();
		state.textContent = `as of ${time(parts[0].time)} UTC`;
		state.className = "";
	} catch (error) {
		state.textContent = `not up to date: ${error.message}`;
		state.className = "bad";
	}
}

function detail(name, value, className) {
	return [element("dt", name), element("dd", value === undefined || value === null || value === "" ? "–" : value,
		className)];
}

async function showDetails(id) {
	let agent;
	try {
		agent = await get(`/v1/fleet/agents/${encodeURIComponent(id)}`);
	} catch (error) {
		by("state").textContent = error.message;
		return;
	}
	by("details-title").textContent = agent.id;
	by("details-list").replaceChildren(...detail("fleet", agent.fleet), ...detail("assurance", agent.assurance),
		...detail("state", agent.state, stateClass(agent.state)), ...detail("reason", agent.reason),
		...detail("enrolled", time(agent.enrolled)), ...detail("certificate until", time(agent.not_after)),
		...detail("last seen", time(agent.last_seen)), ...detail("agent's version", agent.version),
		...detail("kernel", agent.kernel), ...detail("engine", agent.engine), ...detail("condition", agent.condition),
		...detail("policy", agent.policy_version), ...detail("violations", agent.violations),
		...detail("restarts", agent.restarts), ...detail("faults", (agent.faults || []).join(", ")));
	fill("details-models", agent.history, plainRow(["seen", "model", "release", "state", "since", "detail"],
		["time", "", "num", "", "time", ""]));
	by("details-revoke").hidden = agent.state === "revoked";
	by("details").showModal();
}

function askRevoke() {
	revoking = by("details-title").textContent;
	by("details").close();
	by("revoke-title").textContent = `Revoke ${revoking}?`;
	for (const id of ["revoke-reason", "revoke-confirm"])
		by(id).value = "";
	by("revoke-error").textContent = "";
	by("revoke-do").disabled = true;
	by("revoke").showModal();
}

function checkRevoke() {
	by("revoke-do").disabled = by("revoke-confirm").value !== revoking || !by("revoke-reason").value.trim();
}

async function doRevoke() {
	by("revoke-do").disabled = true;
	try {
		const answer = await fetch(`/v1/fleet/agents/${encodeURIComponent(revoking)}/revoke`, {
			method: "POST",
			headers: { "Content-Type": "application/json", "X-TensorGuard-Request": "1" },
			body: JSON.stringify({ reason: by("revoke-reason").value.trim() }),
		});
		const object = await answer.json();
		if (!answer.ok)
			throw new Error(object.error);
		by("revoke").close();
		await refresh();
	} catch (error) {
		by("revoke-error").textContent = error.message;
		by("revoke-do").disabled = false;
	}
}

by("filter").addEventListener("input", drawAgents);
by("filter-state").addEventListener("change", drawAgents);
by("details-close").addEventListener("click", () => by("details").close());
by("details-revoke").addEventListener("click", askRevoke);
by("revoke-cancel").addEventListener("click", () => by("revoke").close());
by("revoke-do").addEventListener("click", doRevoke);
for (const id of ["revoke-reason", "revoke-confirm"])
	by(id).addEventListener("input", checkRevoke);
refresh();
setInterval(() => {
	if (document.visibilityState === "visible")
		refresh();
}, PERIOD_MS);
