/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The bits of the packet and connection mark that TensorGuard uses; the rest
 * belongs to others and is never touched.
 *
 *	bits 16..21	class + 1 that the classifier chose (0 = not decided)
 *	bit 22		outer packets of our own tunnels, exempt from the routing rules
 *	bits 23..25	tag of the tunnel and its list of classes when the class was chosen: a
 *			connection mark outlives the policy whose class numbers it holds
 *	bit 26		inner packets of a class that the agent paces: it has released this one
 *
 * Example: 0x00030000 = class 2 chosen under tag 0; 0x00400000 = a WireGuard packet of ours.
 */
#ifndef TG_SHARED_MARK_H
#define TG_SHARED_MARK_H

#define TG_MARK_CLASS_SHIFT 16
#define TG_MARK_CLASS_MASK 0x003f0000u
#define TG_MARK_OUTER 0x00400000u
#define TG_MARK_TAG_SHIFT 23
#define TG_MARK_TAG_MASK 0x03800000u
#define TG_MARK_PACED 0x04000000u
#define TG_MARK_FLOW_MASK (TG_MARK_CLASS_MASK | TG_MARK_TAG_MASK) /* what the classifier writes */

/* Mark bits for a class, to be put in place under TG_MARK_CLASS_MASK. */
#define TG_MARK_OF_CLASS(class) ((((class) + 1u) << TG_MARK_CLASS_SHIFT) & TG_MARK_CLASS_MASK)

#endif
