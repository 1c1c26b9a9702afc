"""What each replica of a component runs: from the component and its runtime to a pod, and from a pod to a process."""
