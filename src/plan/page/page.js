/* SPDX-License-Identifier: MIT */
/* Draws the page from the plan inside it. Text goes in as text, never as markup: names come from files. */
"use strict";
(function () {
	const plan = JSON.parse(document.getElementById("plan").textContent);
	const UNITS = {cpu: "MHz", memory: "MiB", disk: "MB/s", iops: "operations/s", net: "Mbit/s"};
	const WORDS = {cpu: "processor", memory: "memory", disk: "disk", iops: "disk operations", net: "network"};
	const COLORS = ["#0b5cad", "#e07b00", "#2a8f4d", "#b3261e", "#7b52ab", "#8c6d46", "#c2559d", "#5b7083", "#9a9a00", "#1499a8"];
	const SHOWN = 9; /* guests with a colour of their own; the rest is one */
	const element = (id) => document.getElementById(id);

	function make(tag, text, where, kind) {
		const made = document.createElement(tag);
		if (text !== undefined && text !== null)
			made.textContent = text;
		if (kind)
			made.className = kind;
		if (where)
			where.appendChild(made);
		return made;
	}

	/* Columns: [heading, is a number]. */
	function table(where, columns, rows) {
		const made = make("table", null, where);
		const head = make("tr", null, make("thead", null, made));
		columns.forEach(([text, isNumber]) => make("th", text, head, isNumber ? "n" : "").scope = "col");
		const body = make("tbody", null, made);
		rows.forEach((row) => {
			const line = make("tr", null, body);
			row.forEach((cell, i) => make("td", cell, line, columns[i][1] ? "n" : ""));
		});
		return made;
	}

	const percent = (share) => (100 * share).toFixed(share < 0.1 ? 1 : 0) + " %";
	const plural = (count, one, many) => count + " " + (count === 1 ? one : many || one + "s");
	function amount(value) {
		if (value >= 1e6)
			return Math.round(value / 1e3).toLocaleString("en") + "k";
		return value >= 100 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(3));
	}
	function moment(seconds, withDate) {
		const text = new Date(seconds * 1000).toISOString();
		return withDate === false ? text.slice(11, 16) : text.slice(0, 10) + " " + text.slice(11, 16);
	}

	const {answer, bound, options, demand} = plan;
	const kinds = new Map();
	plan.hosts.forEach((host) => kinds.set(host.class, (kinds.get(host.class) || 0) + 1));
	const kindText = [...kinds].map(([name, count]) => count + " of kind " + name).join(", ");
	const flagged = plan.guests.filter((guest) => guest.flags.length !== 0);

	function writeAnswer() {
		const where = element("answer"), gap = answer.hosts - bound.hosts;
		const how = options.engine === "native" ? "without any overhead" : "as guests" + (options.engine === "kvm" ? " under KVM" : " under nfold's translator");
		const best = gap <= 0 ? "fewer cannot do" :
			"at least " + bound.hosts + " are needed, so this is at most " + plural(gap, "host") + " more than the best there is";
		make("p", "The " + plural(demand.guests, "server") + " fit " + plural(answer.hosts, "host") + " " + how +
			(plan.classes.length > 1 ? " (" + kindText + ")" : "") +
			(options.spares ? ", " + options.spares + " of them spare" : "") + "; " + best + ".", where);
		const saved = answer.by_peaks - answer.hosts;
		make("p", answer.by_peaks === 0 ? "Adding up each server's peaks finds no fit at all." :
			"Adding up each server's peaks would ask for " + plural(answer.by_peaks, "host") + "; looking at what is used at the same moment " +
			(saved > 0 ? "saves " + saved + " of them." : "saves none here."), where);
		const risk = plan.risks[0];
		make("p", (risk ? "The tightest moment is " + moment(risk.time) + " UTC on " + plan.hosts[risk.host].name + ", when " + WORDS[risk.resource] +
			" use is " + percent(risk.share) + " of what guests may have there" : "Nothing is used at all") + "; " +
			(flagged.length ? plural(flagged.length, "server") + " should be looked at before becoming guests." :
				"no server stands out as one that should stay as it is."), where);
		element("title").textContent = plural(demand.guests, "server") + " on " + plural(answer.hosts, "host");
		document.title = element("title").textContent;
	}

	function writeChoices() {
		const choices = plan.choices, withCost = answer.cost !== undefined;
		const rows = [
			["the servers as they are", choices.native.machines, choices.native.cost],
			["adding up peaks", answer.by_peaks || "no fit", undefined],
			["one operating system on each host", choices.one_os.machines || "no fit", choices.one_os.cost],
			["guests, by time (this plan)", answer.hosts, answer.cost],
			["proven minimum for guests", bound.hosts, withCost ? bound.cost : undefined],
		];
		const columns = [["", false], ["machines", true]].concat(withCost ? [["cost", true]] : []);
		table(element("choices"), columns, rows.map((row) => withCost ?
			[row[0], row[1], row[2] === undefined ? "not known" : amount(row[2])] : row.slice(0, 2)));
		make("p", "One operating system on each host has no guests and so no overhead. It needs applications that get along on one system.",
			element("choices"), "soft");
		return new Chart(document.querySelector("#bars canvas"), {
			type: "bar",
			data: {labels: rows.map((row) => row[0]), datasets: [{data: rows.map((row) => Number(row[1]) || 0),
				backgroundColor: [COLORS[7], COLORS[7], COLORS[1], COLORS[0], COLORS[2]]}]},
			options: {indexAxis: "y", animation: false, maintainAspectRatio: false, plugins: {legend: {display: false}},
				scales: {x: {title: {display: true, text: "machines"}, ticks: {precision: 0}}}},
		});
	}

	function writeRisks() {
		element("risk-note").textContent = "The fullest hours of any host, by its fullest sample of " + demand.interval +
			" seconds. Shares are of what guests may use: headroom is already taken off. Times are UTC.";
		table(element("risks"), [["hour", false], ["host", false], ["resource", false], ["share", true]],
			plan.risks.map((risk) => [moment(risk.time), plan.hosts[risk.host].name, WORDS[risk.resource], percent(risk.share)]));
	}

	/* Only if a simulation was given: each riskiest moment, and the guests that waited longest in it. */
	function writeSimulation() {
		const simulation = plan.simulation, where = element("simulation");
		if (!simulation)
			return;
		make("h2", "What guests feel in them", where);
		make("p", "Each moment simulated with the host's own scheduling policy. Ready is the share of its vCPUs' time in which a guest waited for a processor, " +
			"co-stop in which a vCPU waited for its siblings. Delays are in milliseconds: of a burst of work its time " +
			"beyond its own length, in the mean and what 95 % stay below; of a disk request and of a network message all but the service itself.", where, "soft");
		table(make("div", null, where, "scroll"), [["from", false], ["minutes", true], ["host", false], ["processors busy", true],
			["vCPUs ready", true], ["in co-stop", true], ["disk busy", true], ["network busy", true]],
			simulation.windows.map((w) => [moment(w.time), amount(w.seconds / 60), w.name, percent(w.used), w.ready.toFixed(2), w.co_stop.toFixed(2),
				w.disk ? percent(w.disk_busy) : "not simulated", w.network ? percent(w.network_busy) : "not simulated"]));
		const waited = (guest) => guest.ready + guest.co_stop + guest.limited;
		const worst = simulation.windows.flatMap((w) => w.guests.map((guest) => [w, guest])).sort((a, b) => waited(b[1]) - waited(a[1])).slice(0, 20);
		make("p", "The " + worst.length + " that waited longest:", where);
		table(make("div", null, where, "scroll"), [["from", false], ["host", false], ["guest", false], ["vCPUs", true], ["used", true], ["ready", true],
			["co-stop", true], ["limited", true], ["burst, ms", true], ["95 %, ms", true], ["disk, ms", true], ["net, ms", true]],
			worst.map(([w, guest]) => [moment(w.time), w.name, guest.name + (guest.saturated ? " (wants all it has)" : ""), guest.vcpus, percent(guest.used),
				percent(guest.ready), percent(guest.co_stop), percent(guest.limited), amount(guest.burst_ms), amount(guest.burst_p95_ms),
				guest.requests ? amount(guest.io_ms) : "", guest.messages ? amount(guest.network_ms) : ""]));
		table(make("div", null, where, "scroll"), [["assumed", false], ["value", false], ["source", false]],
			simulation.assumptions.map((row) => [row.what, row.value + " " + row.unit, row.source]));
	}

	function writeNative() {
		const where = element("native");
		if (flagged.length === 0) {
			make("p", "None: no server exceeds the limits that the planner's page states.", where);
			return;
		}
		const used = new Set(flagged.flatMap((guest) => guest.flags));
		const list = make("ul", null, where);
		[...used].forEach((flag) => {
			const item = make("li", null, list);
			make("b", flag, item);
			item.append(": " + plan.flags[flag] + " (" + plural(flagged.filter((guest) => guest.flags.includes(flag)).length, "server") + ")");
		});
		make("p", "Servers that are large or cost much overhead are better left native, or alone on a host; the others need a look at their disks and memory.", where);
		table(make("div", null, where, "scroll"), [["server", false], ["why", false]].concat(used_resources.map((r) => [WORDS[r] + " peak, " + UNITS[r], true])),
			flagged.map((guest) => [guest.name, guest.flags.join(", ")].concat(used_resources.map((r) => amount(guest.peak[r])))));
	}

	function writeBound() {
		const where = element("bound");
		make("p", "No placement can do with fewer than " + plural(bound.hosts, "host") + (answer.cost !== undefined ? " or cost less than " + amount(bound.cost) : "") +
			(options.spares ? ", spares included" : "") + ". The reason: " + bound.text +
			(bound.proof === "apart" || bound.proof === "sets" || bound.proof === "exact" ? "." : " (" + WORDS[bound.resource] + ", " + moment(bound.time) + " UTC)."), where);
		make("p", answer.hosts <= bound.hosts ? "The plan reaches it." :
			"The plan is " + plural(answer.hosts - bound.hosts, "host") + " above it. The minimum may lie anywhere between the two.", where);
	}

	const used_resources = Object.keys(UNITS).filter((r) => plan.classes.some((kind) => kind.usable[r] > 0));
	const charts = new Map();
	let shown = used_resources.find((r) => plan.risks.length && plan.risks[0].resource === r) || used_resources[0];

	function datasetsOf(host, resource) {
		const chart = host.resources[resource].chart;
		const order = chart.map((values, i) => [values.reduce((a, b) => a + b, 0), i]).sort((a, b) => b[0] - a[0] || a[1] - b[1]);
		const sets = order.slice(0, SHOWN).map(([, i], k) => ({label: plan.guests[host.guests[i]].name, data: chart[i], color: COLORS[k]}));
		const rest = order.slice(SHOWN);
		if (rest.length === 1)
			sets.push({label: plan.guests[host.guests[rest[0][1]]].name, data: chart[rest[0][1]], color: COLORS[SHOWN]});
		else if (rest.length !== 0)
			sets.push({label: rest.length + " others", color: "#b7c0c9",
				data: chart[0].map((_, p) => rest.reduce((sum, [, i]) => sum + chart[i][p], 0))});
		return sets.map((set) => ({label: set.label, data: set.data, backgroundColor: set.color, borderColor: set.color, borderWidth: 0,
			fill: true, pointRadius: 0, stack: "guests"}));
	}

	function drawHost(index) {
		const host = plan.hosts[index], place = document.getElementById("host-" + index);
		const data = host.resources[shown], points = plan.chart_points;
		const capacity = plan.classes.find((kind) => kind.name === host.class).usable[shown];
		const old = charts.get(index);
		if (old)
			old.destroy();
		const long = demand.samples * demand.interval > 5 * 86400;
		const labels = Array.from({length: points}, (_, p) =>
			moment(demand.start + Math.floor(p * demand.samples / points) * demand.interval).slice(5, long ? 10 : 16));
		const line = {label: "what guests may use", data: labels.map(() => capacity), borderColor: "#1b1f24", borderWidth: 1.5, borderDash: [6, 4],
			pointRadius: 0, fill: false, stack: "capacity"};
		charts.set(index, new Chart(place.querySelector("canvas"), {
			type: "line",
			data: {labels, datasets: datasetsOf(host, shown).concat([line])},
			options: {animation: false, maintainAspectRatio: false, interaction: {mode: "index", intersect: false},
				plugins: {legend: {position: "bottom", labels: {boxWidth: 10, font: {size: 11}}}},
				scales: {y: {stacked: true, beginAtZero: true, title: {display: true, text: UNITS[shown]}},
					x: {ticks: {maxTicksLimit: Math.min(7, Math.max(3, Math.floor(place.clientWidth / 110))), maxRotation: 0}}}},
		}));
		const over = data.samples_over ? "; over in " + plural(data.samples_over, "sample") + " of " + demand.samples : "";
		place.querySelector("p").textContent = plural(host.guests.length, "guest") + "; " + WORDS[shown] + " peak " + amount(data.peak) + " " + UNITS[shown] +
			", " + percent(data.share) + " of what guests may use, at " + moment(data.time) + " UTC; mean " + amount(data.mean) + over + ".";
	}

	/* Charts are made when they come into view: with hundreds of hosts a browser would take long. */
	const watcher = new IntersectionObserver((entries) => entries.forEach((entry) => {
		const index = Number(entry.target.dataset.host);
		if (entry.isIntersecting && !charts.has(index))
			drawHost(index);
	}), {rootMargin: "600px"});

	function writeHosts() {
		element("chart-note").textContent = "Each point is the moment at which the host is fullest in its piece of the time, so that no peak is lost; times are UTC. " +
			"The dashed line is what guests may use.";
		used_resources.forEach((resource) => {
			const button = make("button", WORDS[resource], element("resources"));
			button.type = "button";
			button.setAttribute("aria-pressed", String(resource === shown));
			button.addEventListener("click", () => {
				shown = resource;
				document.querySelectorAll("#resources button").forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
				[...charts.keys()].forEach(drawHost);
			});
		});
		plan.hosts.forEach((host, index) => {
			const place = make("section", null, element("hosts"), "host");
			place.id = "host-" + index;
			place.dataset.host = index;
			make("h3", host.name + (host.name.startsWith(host.class + "-") ? "" : " (" + host.class + ")"), place);
			make("p", host.spare ? "A spare: empty until another host fails, and large enough for the guests of any." : "", place, "soft");
			if (host.spare || host.guests.length === 0)
				return;
			const canvas = make("canvas", null, make("div", null, place, "canvas"));
			canvas.setAttribute("role", "img");
			canvas.setAttribute("aria-label", "Use of " + host.name + " over time, stacked by guest");
			watcher.observe(place);
		});
	}

	function writeAssumptions() {
		const rows = [
			["measured", demand.estate + ": " + demand.samples + " samples of " + demand.interval + " s from " + moment(demand.start) + " UTC", "the estate"],
			["what must hold", options.percentile >= 100 ? "no resource of a host is over its capacity in any sample" :
				"each resource of a host is within its capacity in " + options.percentile + " % of the samples", "--percentile"],
		];
		plan.classes.forEach((kind) => rows.push(["host kind " + kind.name, used_resources.map((r) => WORDS[r] + " " + amount(kind.capacity[r]) + " " + UNITS[r] +
			" (for guests " + amount(kind.usable[r]) + ")").join("; ") + (kind.count ? "; " + kind.count + " of them" : ""), "--host"]));
		rows.push(["headroom", used_resources.map((r) => WORDS[r] + " " + percent(options.headroom[r])).join(", "), "--headroom"]);
		rows.push(["growth", used_resources.map((r) => WORDS[r] + " " + percent(options.growth[r])).join(", "), "--growth"]);
		const unused = Object.keys(UNITS).filter((r) => !used_resources.includes(r));
		if (unused.length)
			rows.push(["not looked at", unused.map((r) => WORDS[r]).join(", "), "--host states no capacity"]);
		const filled = plan.guests.reduce((sum, guest) => sum + guest.gap_samples, 0);
		rows.push(["gaps", filled + " missing values of processor and memory use take the value before them", "the estate"]);
		const assumed = plan.guests.filter((guest) => guest.kernel_assumed).length;
		if (assumed)
			rows.push(["kernel and interrupt time", "was not measured on " + plural(assumed, "server") + "; the shares below are used", "the estate"]);
		plan.overhead.forEach((figure) => rows.push([options.engine + ": " + figure.what, figure.value + " " + figure.unit, figure.source]));
		rows.push(options.rated ? ["processors", "are worth their benchmark ratings; MHz are those of the first kind of host", "--ratings"] :
			["clocks", "a MHz does the same work on every processor", "assumption"]);
		table(element("assumptions"), [["what", false], ["value", false], ["source", false]], rows);
	}

	function writeGuests() {
		const columns = [["guest", false], ["host", false]].concat(plan.guests.some((guest) => guest.now) ? [["now on", false]] : [],
			used_resources.map((r) => [WORDS[r] + " peak, " + UNITS[r], true]), [["warnings", false]]);
		const rows = plan.guests.map((guest) => [guest.name, plan.hosts[guest.host].name].concat(columns[2][0] === "now on" ? [guest.now || ""] : [],
			used_resources.map((r) => String(guest.peak[r])), [guest.flags.join(" ")]));
		table(element("guests"), columns, rows);
		element("copy").addEventListener("click", () => {
			const text = [columns.map((column) => column[0])].concat(rows).map((row) => row.join("\t")).join("\n");
			const area = make("textarea", null, document.body);
			area.value = text;
			area.select();
			element("copy").textContent = document.execCommand("copy") ? "Copied" : "Select the table and copy it";
			area.remove();
		});
	}

	Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
	writeAnswer();
	const bars = writeChoices();
	writeRisks();
	writeSimulation();
	writeNative();
	writeBound();
	writeHosts();
	writeAssumptions();
	writeGuests();
	/* On paper every chart is there, as wide as the sheet. */
	window.addEventListener("beforeprint", () => {
		plan.hosts.forEach((host, index) => {
			if (!charts.has(index) && !host.spare && host.guests.length !== 0)
				drawHost(index);
		});
		charts.forEach((chart) => chart.resize(680, 225));
		bars.resize(680, 200);
	});
	window.addEventListener("afterprint", () => {
		charts.forEach((chart) => chart.resize());
		bars.resize();
	});
	document.documentElement.dataset.drawn = "yes";
})();
