// SPDX-License-Identifier: MIT
// The page of an estate: sums over all servers as charts, and a row for each server.
"use strict";
(() => {
	const data = JSON.parse(document.getElementById("plan").textContent);
	const at = (id) => document.getElementById(id);
	const add = (parent, name, text, style) => {
		const element = parent.appendChild(document.createElement(name));
		if (text !== undefined)
			element.textContent = text;
		if (style)
			element.className = style;
		return element;
	};
	const short = (value) => {
		const prefixes = ["", "k", "M", "G", "T", "P"];
		let power = 0;
		for (; value >= 1000 && power < prefixes.length - 1; power++)
			value /= 1000;
		return value.toFixed(power > 0 && value < 100 ? 1 : 0) + (prefixes[power] ? " " + prefixes[power] : "");
	};
	const share = (value) => (100 * value).toFixed(1) + " %";
	const table = (parent, heads, rows) => {
		const element = add(parent, "table");
		const head = add(add(element, "thead"), "tr");
		heads.forEach((text, i) => add(head, "th", text, i > 0 ? "n" : ""));
		const body = add(element, "tbody");
		for (const row of rows) {
			const line = add(body, "tr");
			row.forEach((text, i) => add(line, "td", text, i > 0 ? "n" : ""));
		}
	};
	const day = (seconds) => new Date(1000 * seconds).toISOString().slice(0, 16).replace("T", " ");

	const grid = data.totals;
	const servers = data.servers;
	at("title").textContent = `${servers.length} servers`;
	add(at("answer"), "p", `Measured from ${day(grid.start)} to ${day(grid.start + grid.slots * grid.interval)} UTC.`);
	at("chart-note").textContent = `Sums over all servers, means of ${grid.interval / 60} minutes. A gap of a server counts as nothing.`;
	const labels = Array.from({length: grid.slots}, (_, k) => day(grid.start + k * grid.interval));
	for (const chart of grid.charts) {
		const box = add(at("charts"), "div", undefined, "host");
		add(box, "h3", `${chart.text}, ${chart.unit}`);
		if (chart.values === null) {
			add(box, "p", "Not measured, or not known in this unit.", "soft");
			continue;
		}
		const canvas = add(add(box, "div", undefined, "canvas"), "canvas");
		new Chart(canvas, {
			type: "line",
			data: {labels, datasets: [{data: chart.values, borderColor: "#0b5cad", backgroundColor: "#0b5cad33", fill: true,
				borderWidth: 1, pointRadius: 0}]},
			options: {animation: false, maintainAspectRatio: false, plugins: {legend: {display: false}},
				scales: {y: {beginAtZero: true, ticks: {callback: short}}, x: {ticks: {maxTicksLimit: 8, maxRotation: 0}}}},
		});
	}

	const column = (server, key, value, format) => (server.series[key] ? format(server.series[key][value]) : "");
	table(at("servers"), ["server", "processors", "memory", "cpu mean", "cpu 95 %", "cpu peak", "memory peak", "disk read peak",
		"disk write peak", "received peak", "sent peak", "gaps"], servers.map((server) => [server.name,
		server.cpus ? `${server.cpus}` + (server.mhz ? ` × ${server.mhz.toFixed(0)} MHz` : "") : "",
		server.memory_bytes ? short(server.memory_bytes) + "B" : "", column(server, "cpu", "mean", share), column(server, "cpu", "p95", share),
		column(server, "cpu", "maximum", share), column(server, "memory", "maximum", short), column(server, "disk_read", "maximum", short),
		column(server, "disk_write", "maximum", short), column(server, "net_receive", "maximum", short),
		column(server, "net_send", "maximum", short), share(server.notes.gap_slots / server.slots)]));
	table(at("notes"), ["what", "times", "servers"], data.note_texts.map(({key, text}) => [text,
		servers.reduce((sum, server) => sum + server.notes[key], 0), servers.filter((server) => server.notes[key]).length])
		.filter((row) => row[2] > 0));
	for (const remark of (data.import && data.import.remarks) || [])
		add(at("notes"), "p", remark, "soft");
})();
