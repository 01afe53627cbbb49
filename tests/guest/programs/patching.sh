# SPDX-License-Identifier: MIT
# The kernel rewrites its own code while it runs: static keys, the function tracer, kprobes and their jump optimization. Each line is checked by its effect.
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
cd /sys/kernel/tracing || exit 1
status=0

report() {
	if [ "$1" -eq 0 ]; then echo "right $2"; else
		echo "WRONG $2"
		status=1
	fi
}

# Static key: schedstats counts only while it is on.
wrong=0
for value in 1 0 1 0 1 0; do
	echo $value >/proc/sys/kernel/sched_schedstats || wrong=1
	[ "$(grep -c sum_sleep_runtime /proc/self/sched)" = $value ] || wrong=1
done
report $wrong "static key switched on and off"

# Function tracer: every function's first five bytes change from nop to call and back.
before=$(wc -l <available_filter_functions)
echo function >current_tracer
ls / >/dev/null
echo nop >current_tracer
[ "$before" -gt 10000 ]
report $? "function tracer over all functions on and off"
echo vfs_read >set_ftrace_filter && echo function >current_tracer
echo >trace
cat /proc/uptime >/dev/null
grep -q vfs_read trace
report $? "function tracer records one function"
echo nop >current_tracer
echo >set_ftrace_filter

# Function graph tracer: the return addresses on the stack are replaced.
echo do_sys_openat2 >set_graph_function 2>/dev/null
echo function_graph >current_tracer
echo >trace
cat /proc/uptime >/dev/null
grep -q 'us *|' trace
report $? "function graph tracer times calls"
echo nop >current_tracer
echo >set_graph_function

# Kprobes: int3 in place of an instruction, at entry and (return probe) by a replaced return address.
echo 'p:nfold_in do_sys_openat2' >kprobe_events
echo 'r:nfold_out do_sys_openat2' >>kprobe_events
echo >trace
echo 1 >events/kprobes/enable
i=0
while [ $i -lt 20 ]; do
	cat /proc/uptime >/dev/null
	i=$((i + 1))
done
sleep 1 # the optimizer replaces int3 by a jump after a while
cat /proc/uptime >/dev/null
[ "$(grep -c 'nfold_in:' trace)" -gt 20 ]
report $? "kprobe at entry"
[ "$(grep -c 'nfold_out:' trace)" -gt 20 ]
report $? "kprobe at return"
echo 0 >events/kprobes/enable
echo >kprobe_events

[ "$(seq 1 1000 | wc -l)" -eq 1000 ]
report $? "system works after patching"
exit $status
