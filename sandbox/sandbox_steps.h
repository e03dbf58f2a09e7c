/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of sandbox_enter() that need a file of their own. Same process, same stage. */
#pragma once

#include "sandbox/sandbox.h"

/** sandbox_step_join() - into the namespaces in @params; keeps a way to /proc for the id maps */
int must_check sandbox_step_join(const struct sandbox_profile *profile,
				 const struct sandbox_params *params);

/** sandbox_step_userns() - own user namespace that maps exactly the current uid and gid */
int must_check sandbox_step_userns(const struct sandbox_profile *profile,
				   const struct sandbox_params *params);

/** sandbox_step_namespaces() - own mount, ipc, uts and cgroup namespaces; host name = profile */
int must_check sandbox_step_namespaces(const struct sandbox_profile *profile,
				       const struct sandbox_params *params);

/** sandbox_step_root() - an empty, read-only root directory, unless one was taken over */
int must_check sandbox_step_root(const struct sandbox_profile *profile,
				 const struct sandbox_params *params);

/** sandbox_step_landlock() - no file, TCP port, foreign signal or abstract socket from now on */
int must_check sandbox_step_landlock(const struct sandbox_profile *profile,
				     const struct sandbox_params *params);
