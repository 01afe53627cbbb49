/* SPDX-License-Identifier: MIT */
#include "confine/privileges.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* From all sets. The bounding set first, which takes a capability; a user without any cannot, and has nothing there
 * that no_new_privs lets come back. */
static bool drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
	for (unsigned long i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
		(void)prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return syscall(SYS_capset, &header, none) == 0;
}

/* A core dump would have all of the guest's memory; and descriptors stay as many as are allowed now. */
static bool set_limits(void)
{
	const struct rlimit none = {0, 0};
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return false;
	files.rlim_max = files.rlim_cur;
	return setrlimit(RLIMIT_CORE, &none) == 0 && setrlimit(RLIMIT_NOFILE, &files) == 0;
}

void privileges_drop(struct confinement *confinement)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
		confinement->parts |= 1u << CONFINE_NO_NEW_PRIVILEGES;
	if (drop_capabilities())
		confinement->parts |= 1u << CONFINE_CAPABILITIES;
	if (set_limits())
		confinement->parts |= 1u << CONFINE_LIMITS;
}
